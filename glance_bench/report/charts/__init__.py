"""Charts of the report as inline SVG, drawn at build time."""
