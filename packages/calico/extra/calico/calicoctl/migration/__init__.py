"""Applications from another network to Calico's: what changes in a definition, what cannot be decided, the way back."""
