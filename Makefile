.PHONY: run test bench setup
run test bench setup:
	@sh dev $@
