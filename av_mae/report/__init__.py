"""What a run logs, and the pages made of it: metrics.jsonl, TensorBoard, pictures, report.html."""
