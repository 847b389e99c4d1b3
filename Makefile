.PHONY: run check fix test nightly bench setup
run check fix test nightly bench setup:
	@sh dev $@
