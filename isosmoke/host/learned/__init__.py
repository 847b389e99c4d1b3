"""Results that are kept between commands, each with everything that it depends on."""
