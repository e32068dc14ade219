"""Learning features without labels: contrastive losses, canonical correlation and embeddings of many sizes."""
