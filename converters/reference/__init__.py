"""The reference engines for CT haemorrhage triage: phantoms, networks, training, evaluation."""
