"""Where training loops plug in; every framework is imported only by the module named after it."""
