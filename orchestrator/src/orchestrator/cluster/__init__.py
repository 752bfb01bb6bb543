"""The pool of workers as Redis and Kubernetes know it: demand, health, and who may go first."""
