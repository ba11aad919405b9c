"""tgen compiles trained models to machine code for the CPU they run on."""
