"""What a run logs, and its pages: metrics.jsonl, TensorBoard, pictures, report.html."""
