"""Passes: from graph to graph, and the pure optimizers behind them."""
