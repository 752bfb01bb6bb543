"""The `voicefork` command."""

from __future__ import annotations

from voicefork_cli.app import app


def main() -> None:
    app()


if __name__ == "__main__":
    main()
