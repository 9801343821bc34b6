"""Directories as Hugging Face's libraries write them: config.json beside weights, tokenizers and settings."""
