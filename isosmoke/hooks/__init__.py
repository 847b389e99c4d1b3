"""Hooks that let coding agents and git ask the gate, each by the contract of its caller."""
