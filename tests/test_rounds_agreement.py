"""Closing, Releasing and Endorsing: which key holders are asked, and what their answers and silence lead to."""

from __future__ import annotations

from dataclasses import replace

from round_cases import (
    ALL,
    NOTHING,
    RULES,
    Row,
    abandoned,
    ask_key,
    closing,
    endorsing,
    failed,
    holders,
    names,
    releasing,
    require_transition,
    run,
    transitions,
)

from server import rounds as r
from server import states as s

# what is shown                                  before                           event                          time   after          commands
CLOSING = [
    ("one signature is no quorum",                 closing(),                       s.ListSigned(1, 1, "h1"),        1.0, s.Closing,     NOTHING),
    ("the same one twice is none either",          closing("1"),                    s.ListSigned(1, 1, "h1"),        1.0, s.Closing,     NOTHING),
    ("the quorum announces the list",              closing("1"),                    s.ListSigned(1, 1, "h2"),        1.0, s.Uploading,   (s.AnnounceList(1, 1),)),
    ("another attempt's signature counts not",     closing("1"),                    s.ListSigned(1, 2, "h2"),        1.0, s.Closing,     NOTHING),
    ("a returning holder is asked again",          closing("1"),                    s.HolderCame("h3"),              1.0, s.Closing,     (s.RequestList(1, 1, holders("3")),)),
    ("one that comes late is asked too",           closing(here="12"),              s.HolderCame("h3"),              1.0, s.Closing,     (s.RequestList(1, 1, holders("3")),)),
    ("silence is borne, for all have been asked",  closing(),                       s.Tick(),                       20.0, s.Closing,     NOTHING),
    ("a holder that leaves is waited for",         closing("1"),                    s.HolderLeft("h2"),             99.0, s.Closing,     NOTHING),
    ("one that declines leaves a quorum",          closing(),                       s.TaskDeclined(1, 1, "h1", "no"), 1.0, s.Closing,    NOTHING),
    ("two that decline do not",                    closing("", "1"),                s.TaskDeclined(1, 1, "h2", "no"), 1.0, s.Waiting,    abandoned("h2 does not sign the list: no")),
    ("the same one twice is one",                  closing("", "1"),                s.TaskDeclined(1, 1, "h1", "no"), 1.0, s.Closing,    NOTHING),
    ("who declined another attempt has not this",  closing("", "1"),                s.TaskDeclined(1, 2, "h2", "no"), 1.0, s.Closing,    NOTHING),
    ("a commitment that comes too late counts not", closing(),                      s.CommitmentStored(1, 1, "d"),   1.0, s.Closing,     NOTHING),
    ("a client that comes waits its turn",         closing(),                       s.ClientJoined("d"),             1.0, s.Closing,     NOTHING),
    ("patience ends without a quorum",             closing("1"),                    s.Tick(),                      100.0, s.Failed,      failed("the key holders did not sign the list within 100 seconds")),
]  # fmt: skip
RELEASING = [
    ("the holders that opened the sum endorse it", releasing(),          s.SumOpened(1, 1),               1.0, s.Endorsing,   (s.RequestEndorsement(1, 1, holders("23")),)),
    ("any two of them",                            releasing("13"),                 s.SumOpened(1, 1),               1.0, s.Endorsing,   (s.RequestEndorsement(1, 1, holders("13")),)),
    ("not by one that declined to open it",        releasing("123", "1"),           s.SumOpened(1, 1),               1.0, s.Endorsing,   (s.RequestEndorsement(1, 1, holders("23")),)),
    ("not by one who has gone",                    releasing(here="12"),            s.SumOpened(1, 1),               1.0, s.Endorsing,   (s.RequestEndorsement(1, 1, holders("12")),)),
    ("another attempt's sum is not ours",          releasing(),                     s.SumOpened(1, 2),               1.0, s.Releasing,   NOTHING),
    ("wrong shares: all others are asked",         releasing(),                     s.SharesUnfit(1, 1),             1.0, s.Releasing,   (s.RequestRelease(1, 1, holders("1")),)),
    ("wrong shares of all: none is left to ask", releasing("123"),                s.SharesUnfit(1, 1),             1.0, s.Releasing,   NOTHING),
    ("a sum that no honest cohort has ends the run", releasing(),                   s.SumRejected(1, 1, "bad"),      1.0, s.Failed,      failed("round 1 was opened and cannot be used, nor opened again: bad")),
    ("one that declines is replaced",              releasing(),                     s.TaskDeclined(1, 1, "h2", "no"), 1.0, s.Releasing,  (s.RequestRelease(1, 1, holders("1")),)),
    ("too many that decline: abandoned",           releasing("123", "2"),           s.TaskDeclined(1, 1, "h1", "no"), 1.0, s.Waiting,    abandoned("h1 does not open the sum: no")),
    ("the same one twice is one",                  releasing("123", "2"),           s.TaskDeclined(1, 1, "h2", "no"), 1.0, s.Releasing,  NOTHING),
    ("one that leaves is replaced",                releasing(),                     s.HolderLeft("h2"),              1.0, s.Releasing,   (s.RequestRelease(1, 1, holders("1")),)),
    ("one that leaves and was not asked is not",   releasing(),                     s.HolderLeft("h1"),              1.0, s.Releasing,   NOTHING),
    ("one that was asked and returns is asked again", releasing(here="13"),         s.HolderCame("h2"),              1.0, s.Releasing,   (s.RequestRelease(1, 1, holders("2")),)),
    ("one that comes is asked if too few work",    releasing("2", here="2"),        s.HolderCame("h1"),              1.0, s.Releasing,   (s.RequestRelease(1, 1, holders("1")),)),
    ("else it is not",                             releasing(here="23"),            s.HolderCame("h1"),              1.0, s.Releasing,   NOTHING),
    ("who declined does not work",                 releasing("23", "2", here="23"), s.HolderCame("h1"),              1.0, s.Releasing,   (s.RequestRelease(1, 1, holders("1")),)),
    ("one that agrees is not enough",              releasing(),                     s.RequestSigned(1, 1, "h2"),     1.0, s.Releasing,   NOTHING),
    ("two lend their shares",                      releasing(signed="2"),           s.RequestSigned(1, 1, "h3"),     1.0, s.Releasing,   (s.RequestShares(1, 1, holders("23")),)),
    ("one that agrees later lends its own",        releasing("123", signed="23"),   s.RequestSigned(1, 1, "h1"),     1.0, s.Releasing,   (s.RequestShares(1, 1, holders("1")),)),
    ("one that starts again lends nothing yet",    releasing("123", here="13", signed="2"), s.RequestSigned(1, 1, "h3"), 1.0, s.Releasing, (s.RequestShares(1, 1, holders("3")),)),
    ("once it has agreed again, it does",          releasing("123", signed="23"),   s.RequestSigned(1, 1, "h2"),     1.0, s.Releasing,   (s.RequestShares(1, 1, holders("2")),)),
    ("silence for a while is borne",               releasing(),                     s.Tick(),                       19.0, s.Releasing,   NOTHING),
    ("then the others are asked",                  releasing(),                     s.Tick(),                       20.0, s.Releasing,   (s.RequestRelease(1, 1, holders("1")),)),
    ("a late update changes nothing",              releasing(),                     s.SubmissionStored(1, 1, "c"),   1.0, s.Releasing,   NOTHING),
    ("a client that comes waits its turn",         releasing(),                     s.ClientJoined("d"),             1.0, s.Releasing,   NOTHING),
    ("patience ends without an opening",           releasing("123"),                s.Tick(),                      100.0, s.Failed,      failed("the key holders did not open the sum within 100 seconds")),
]  # fmt: skip
ENDORSING = [
    ("one endorsement is not enough",              endorsing(),                     s.ModelEndorsed(1, 1, "h2"),     1.0, s.Endorsing,   NOTHING),
    ("the same one twice is not either",           endorsing(endorsed="2"),         s.ModelEndorsed(1, 1, "h2"),     1.0, s.Endorsing,   NOTHING),
    ("enough of them complete the round",          endorsing(endorsed="2"),         s.ModelEndorsed(1, 1, "h3"),     1.0, s.Endorsing,   (s.CompleteRound(1, 1),)),
    ("once",                                       endorsing(endorsed="23"),        s.ModelEndorsed(1, 1, "h3"),     1.0, s.Endorsing,   NOTHING),
    ("however many more come",                     endorsing(endorsed="23"),        s.ModelEndorsed(1, 1, "h1"),     1.0, s.Endorsing,   NOTHING),
    ("another attempt's endorsement counts not",   endorsing(endorsed="2"),         s.ModelEndorsed(1, 2, "h3"),     1.0, s.Endorsing,   NOTHING),
    ("a stored model: the next round",             endorsing(endorsed="23"),        s.ModelStored(1, 1),             1.0, s.Waiting,     (ask_key("123", 2),)),
    ("another attempt's model is not ours",        endorsing(endorsed="23"),        s.ModelStored(1, 2),             1.0, s.Endorsing,   NOTHING),
    ("the last round: finished",                   endorsing(number=2),             s.ModelStored(2, 1),             1.0, s.Finished,    (s.EndRun(True, "all rounds are completed"),)),
    ("one that declines is replaced",              endorsing(),                     s.TaskDeclined(1, 1, "h2", "no"), 1.0, s.Endorsing,  (s.RequestEndorsement(1, 1, holders("1")),)),
    ("too many that decline end the run",          endorsing("123", declined="2"),  s.TaskDeclined(1, 1, "h1", "no"), 1.0, s.Failed,     failed("round 1 was opened, but h1 does not endorse it: no")),
    ("one that leaves is replaced",                endorsing(),                     s.HolderLeft("h2"),              1.0, s.Endorsing,   (s.RequestEndorsement(1, 1, holders("1")),)),
    ("one that was asked and returns is asked again", endorsing(here="13"),         s.HolderCame("h2"),              1.0, s.Endorsing,   (s.RequestEndorsement(1, 1, holders("2")),)),
    ("one that comes is asked if too few work",    endorsing("2", here="2"),        s.HolderCame("h1"),              1.0, s.Endorsing,   (s.RequestEndorsement(1, 1, holders("1")),)),
    ("else it is not",                             endorsing(here="23"),            s.HolderCame("h1"),              1.0, s.Endorsing,   NOTHING),
    ("silence for a while is borne",               endorsing(),                     s.Tick(),                       19.0, s.Endorsing,   NOTHING),
    ("then the others are asked",                  endorsing(),                     s.Tick(),                       20.0, s.Endorsing,   (s.RequestEndorsement(1, 1, holders("1")),)),
    ("a late share changes nothing",               endorsing(),                     s.SumOpened(1, 1),               1.0, s.Endorsing,   NOTHING),
    ("patience ends without endorsements",         endorsing(endorsed="2"),         s.Tick(),                      100.0, s.Failed,      failed("the key holders did not endorse the model within 100 seconds")),
]  # fmt: skip


@transitions(CLOSING + RELEASING + ENDORSING)
def test_transition(row: Row) -> None:
    require_transition(row)


def test_holders_take_turns_in_opening() -> None:
    """Of three, each round asks the next two in the circle."""
    asked = []
    for number in (1, 2, 3):
        state = run(s.Uploading(number, 1, 30.0, ALL, names("ab")))
        _, commands = r.advance(state, s.SubmissionStored(number, 1, "c"), 1.0, replace(RULES, rounds=3))
        asked.append(commands)
    assert asked == [
        (s.RequestRelease(1, 1, holders("23")),),
        (s.RequestRelease(2, 1, holders("31")),),
        (s.RequestRelease(3, 1, holders("12")),),
    ]
