"""Look at what was built: layers, precisions and sizes; two builds side by side; everything against its passport."""
