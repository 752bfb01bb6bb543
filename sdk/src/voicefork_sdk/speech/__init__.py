"""A voice and ears for demonstrations, offline: flite and pocketsphinx (extra `demo`)."""
