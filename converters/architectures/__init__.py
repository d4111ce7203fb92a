"""Networks for `checkpoint.architecture` of a card: callables that take plain arguments and give a module."""
