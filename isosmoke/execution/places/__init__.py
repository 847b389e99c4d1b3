"""The places in which attempts are made: this machine, or another one that receives orders."""
