"""What a person sees: progress, tables, colours, log lines. Nothing here knows the engine."""
