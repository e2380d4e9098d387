"""A strong and a weak language model from scratch: texts and preferences, training, what a labeler of them is worth."""
