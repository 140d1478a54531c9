"""How good an installed plugin is: the contract suite run over it on the spot, and what its outcome amounts to."""
