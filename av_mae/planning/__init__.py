"""What a run will need and how fast it is: its real step, compiled for devices here or not."""
