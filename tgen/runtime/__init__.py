"""What a run needs beyond generated code: how many threads, and help for machines without AMX."""
