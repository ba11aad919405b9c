"""What is computed: types, graphs, operators, scalar bodies, loop programs. Knows no machine."""
