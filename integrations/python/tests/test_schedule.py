"""When a forwarder registers, with a clock of the test's own."""

from __future__ import annotations

from quic_relay.forwarder import KEEP_ALIVE_SECONDS, LAST_RETRY_SECONDS, SILENCE_SECONDS, Schedule


def acknowledged(now: float) -> Schedule:
    schedule = Schedule()
    schedule.registered(now)
    schedule.acknowledged()
    return schedule


def test_registers_at_once() -> None:
    assert Schedule().due_at <= 0


def test_repeats_ever_more_slowly_until_acknowledged() -> None:
    schedule = Schedule()
    times = [0.0]
    for _ in range(6):
        schedule.registered(times[-1])
        times.append(schedule.due_at)
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert gaps == [0.25, 0.5, 1, LAST_RETRY_SECONDS, LAST_RETRY_SECONDS, LAST_RETRY_SECONDS]
    schedule.acknowledged()
    assert schedule.due_at == times[-2] + KEEP_ALIVE_SECONDS
    schedule.registered(100)
    assert schedule.due_at == 100.25


def test_keeps_an_idle_mapping_alive() -> None:
    assert acknowledged(10).due_at == 10 + KEEP_ALIVE_SECONDS


def test_traffic_that_is_answered_needs_no_registration() -> None:
    schedule = acknowledged(0)
    for number in range(10_000):
        now = number / 100
        schedule.sent(now)
        assert schedule.due_at > now
        schedule.heard()
    assert schedule.due_at == 99.99 + KEEP_ALIVE_SECONDS


def test_silence_while_sending_is_told_after_a_second() -> None:
    schedule = acknowledged(0)
    schedule.sent(5)
    schedule.heard()
    for tenth in range(60, 100):
        schedule.sent(tenth / 10)
    assert schedule.due_at == 6 + SILENCE_SECONDS


def test_a_partner_that_stays_mute_costs_a_registration_a_second() -> None:
    schedule = acknowledged(0)
    now, registrations = 1.0, 0
    while now < 61:
        schedule.sent(now)
        if now >= schedule.due_at:
            schedule.registered(now)
            schedule.acknowledged()
            registrations += 1
        now += 0.01
    assert 50 <= registrations <= 60


def test_what_is_only_received_is_kept_alive() -> None:
    schedule = acknowledged(0)
    for _ in range(100):
        schedule.heard()
    assert schedule.due_at == KEEP_ALIVE_SECONDS
