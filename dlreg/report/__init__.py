"""Results -> statistics -> table -> terminal, Markdown, LaTeX, CSV, JSON, HTML, pictures."""
