"""Speed and memory, side by side with Docker Compose where it is there."""
