"""Pure functions on tensors and arrays, one topic a file: no state, no device choice, no logging."""
