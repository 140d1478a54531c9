"""Side-by-side measurements: peer, floor and ours in one run, in fresh processes, interleaved."""
