"""Versions in the forms that other programs open: PEFT, safetensors, GGUF, Ollama."""
