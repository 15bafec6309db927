"""What happens to the node is told: in the journal, in the history, in the metrics."""
