"""Transformations of graphs, from what was loaded to what is planned."""
