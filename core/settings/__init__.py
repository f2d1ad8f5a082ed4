"""Settings, each written once: a field of a frozen dataclass, whose annotation says what a reader must know.

    @dataclass(frozen=True)
    class Walk(Settings):
        miles: Annotated[float, Setting("How far to walk.", "miles", Bounds(above=0, at_most=30))] = 5.0

That one line is the option `--miles` of a command line (core.settings.command_line), its bounds and the sentence that
refuses "0", the argument `--miles 5.0` for a process that is started with a `Walk()`, and a row of the tables in
docs/operation.md (simulation.settings_tables). Settings that several parties have are in core.settings.common.
"""
