"""What trainers load: one file a trainer or family of trainers."""
