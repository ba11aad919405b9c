"""Where code runs: records of machines and their multiply-accumulate instructions. Knows no operator."""
