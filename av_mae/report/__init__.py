"""What a run shows of itself: progress lines, metrics.jsonl, TensorBoard, pictures, report.html."""
