"""Manual pages and completion, made from the parser, the settings and the errors. Build side: no node has this room."""
