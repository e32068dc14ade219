"""What next-word prediction makes easy and hard, and how language models are prompted, trained and scored."""
