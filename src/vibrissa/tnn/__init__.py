"""Temporal networks: graphs of recurrent nodes, unrolled in time; needs torch and the core only."""
