"""`python main.py` is `python -m av_mae.main`."""

from av_mae import main

if __name__ == "__main__":
    main.main()
