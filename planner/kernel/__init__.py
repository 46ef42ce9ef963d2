"""The compiled simulation kernel: README.md says what it simulates."""
