"""Few-shot, continual and multitask learning."""
