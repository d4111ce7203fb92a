"""The reference engines for live endoscopy: computed frames and sequences, networks, training, evaluation."""
