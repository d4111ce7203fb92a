"""From stored DICOM files to one volume or one sequence of frames.

header -> match groups and routes; decoder -> decode_worker turns files into arrays in limited processes;
volume puts the arrays on a regular grid, or says why there is none.
"""
