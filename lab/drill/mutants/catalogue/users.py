"""Bugs in users, their passwords and their tokens."""

from lab.drill.mutants.mutant import edited

_TOKENS = "tests/unit/test_user_tokens.py::"
_OURS = "tests/unit/test_our_tokens.py::"
_KEYS = "tests/unit/test_user_keys.py::"
_SIGNING = "tests/unit/test_user_signing_keys.py::"
_ACCOUNTS = "tests/unit/test_user_accounts.py::"

MUTANTS = (
    edited(
        "service-makes-users-tokens",
        "a service makes an admin's token though the setting forbids it",
        _TOKENS + "test_the_shared_secret_makes_no_token_at_all",
        ("common.auth:Verifier._of_secret", "if self._secret is None:\n    ", "if False:\n    "),
    ),
    edited(
        "service-token-good-at-all-services",
        "a service that is shown a token shows it to others, and is taken for who made it",
        _OURS + "test_what_is_refused",
        ("common.our_tokens:OwnTokens.__init__", "keys, audience(service), operator", "keys, 'orders/goods', operator"),
    ),
    edited(
        "service-signs-for-others",
        "a service makes tokens in another one's name",
        _OURS + "test_what_is_refused",
        ("common.our_tokens:OwnTokens.read", "found[0].user_id != key.owner", "False"),
    ),
    edited(
        "service-acts-as-a-user",
        "a service's token has whatever scopes it names",
        _OURS + "test_a_service_is_no_user",
        (
            "common.our_tokens:OwnTokens.read",
            "if key.owner == MONITOR else _SERVICE",
            "if key.owner == MONITOR else SCOPES",
        ),
    ),
    edited(
        "operator-not-bounded",
        "in production the operator's key still acts as any user",
        _OURS + "test_what_the_operator_may_is_a_setting",
        ("common.our_tokens:OwnTokens.read", "AUDIENCE, self._operator)", "AUDIENCE, SCOPES)"),
    ),
    edited(
        "withdrawn-key-remembered",
        "tokens of a stolen key are good for as long as they say, wherever they were shown before",
        _OURS + "TestRotation::test_a_key_that_is_withdrawn_is_not_taken_though_its_tokens_are_remembered",
        ("common.auth:Verifier._look", "self._verified.clear()", "pass"),
    ),
    edited(
        "signs-on-with-the-old-key",
        "after a rotation a service is refused until its token would have been made anew",
        _OURS + "TestRotation::test_a_key_that_is_withdrawn_is_not_taken_though_its_tokens_are_remembered",
        ("common.our_tokens:ServiceToken.__call__", "version != self._version or ", ""),
    ),
    edited(
        "old-service-key-goes-at-once",
        "calls under way are refused while a key is rotated",
        _OURS + "TestRotation::test_no_call_is_refused",
        ("ops.keys:KeyStore._published", "int(now + stays)", "int(now)"),
    ),
    edited(
        "old-deployments-tokens-refused",
        "an upgrade refuses the tokens of a deployment from before",
        "tests/unit/test_ops_places.py::test_tokens_of_the_secret_go_on_where_they_were_all_there_was",
        ("ops.places:DataDir._make_keys", "self._of_before.touch()", "pass"),
    ),
    edited(
        "user-token-is-a-services",
        "a token of the user service calls what is for services",
        _TOKENS + "test_no_token_of_the_user_service_is_a_services",
        ("common.auth:Verifier._of_key", "identity_of(claims, USER_SCOPES", "identity_of(claims, SCOPES"),
    ),
    edited(
        "unknown-keys-always-asked-for",
        "each forged token has a service ask user",
        _KEYS + "test_an_unknown_name_is_asked_for_once_a_minute",
        ("common.user_keys:UserKeys._refresh", "now + REFETCH", "now"),
    ),
    edited(
        "ended-keys-taken",
        "a key that user can't take back is good for ever",
        _KEYS + "test_a_key_is_not_taken_after_its_end_though_user_is_down",
        ("common.user_keys:UserKeys._known", "time.time() < key.ends_at", "True"),
    ),
    edited(
        "log-ins-take-all-threads",
        "while many log in nothing else of user is answered",
        "tests/unit/test_wiring.py::test_user_is_wired",
        ("user.app:build", "settings.hashers + settings.hashes_waiting", "0"),
    ),
    edited(
        "kept-keys-not-read",
        "a service that starts while user is down refuses users",
        _KEYS + "TestKept::test_a_start_while_user_is_down_has_them",
        ("common.user_keys:UserKeys._refresh", "self._kept.load()", "{}"),
    ),
    edited(
        "kept-keys-for-ever",
        "a key that was withdrawn long ago is taken by who can keep user down",
        _KEYS + "TestKept::test_they_end_in_a_process_that_goes_on",
        ("common.kept_keys:_read", "told_at + KEPT_FOR)", "float('inf'))"),
    ),
    edited(
        "kept-keys-others-may-write",
        "who can write the file makes any user's tokens",
        _KEYS + "TestKept::test_a_file_that_is_no_good",
        ("common.kept_keys:_read", "found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)", "False"),
    ),
    edited(
        "kept-keys-tokens-remembered",
        "a token of a key that was withdrawn meanwhile is good until its end",
        _TOKENS + "test_what_kept_keys_verify_is_not_remembered",
        ("common.auth:Verifier.verify", "if found.lasting:", "if True:"),
    ),
    edited(
        "key-signs-at-once",
        "tokens of a new key are refused by who asked for keys just before",
        _SIGNING + "test_no_verifier_refuses_a_token_during_a_rotation",
        ("user.service.keys:SigningKeys.rotate", "int(LEAD * 1000)", "0"),
    ),
    edited(
        "old-key-goes-at-once",
        "a rotation ends tokens that are good",
        _SIGNING + "test_a_new_key_is_published_before_it_signs_and_an_old_one_until_its_last_token_has_ended",
        ("user.service.keys:SigningKeys._all", "after.signs_from + self._stays", "after.signs_from"),
    ),
    edited(
        "refresh-token-good-twice",
        "a stolen refresh token is as good as its owner's",
        _ACCOUNTS + "test_a_refresh_token_is_good_once",
        ("user.service.sessions:Sessions.refresh", "self._end_family(connection, family, address)", "False"),
    ),
    edited(
        "refresh-not-compared",
        "threads with the same refresh token all win",
        _ACCOUNTS + "test_of_threads_with_the_same_refresh_token_at_most_one_wins",
        ("user.service.sessions:Sessions.refresh", "_C.token_hash == _hash(own), ", ""),
    ),
    edited(
        "tries-counted-afterwards",
        "who tries at once tries as often as they like",
        _ACCOUNTS + "test_wrong_passwords_make_the_next_wait",
        ("user.service.attempts:Attempts._claim", "if row.last_at - _APART <= now < row.next_at:", "if False:"),
    ),
    edited(
        "unknown-names-answered-faster",
        "names are told apart by the work that is done for them",
        _ACCOUNTS + "test_a_wrong_password_and_an_unknown_name_cost_the_same",
        (
            "user.service.accounts:Accounts.log_in",
            "claim = self._check(user, name, password, address)",
            "claim = None if user is None else self._check(user, name, password, address)",
        ),
    ),
    edited(
        "log-in-does-not-wait-for-a-change",
        "on MySQL a log-in with the old password outlives the change",
        _ACCOUNTS + "test_a_log_in_waits_for_a_change_of_its_password",
        ("user.service.accounts:Accounts.log_in", "user.user_id, lock=True)", "user.user_id)"),
    ),
    edited(
        "names-rate-of-all-together",
        "a stranger uses up the log-ins of any user",
        "tests/unit/test_user_http.py::test_a_stranger_does_not_use_up_the_tries_of_a_user",
        ("user.api:Doors.logging_in_as", '"log-in of name", name, place)', '"log-in of name", name)'),
    ),
    edited(
        "users-token-remembered-to-its-end",
        "a token of a stolen key is good for years after the key was rotated away",
        _TOKENS + "test_a_token_of_a_key_that_ended_goes_though_it_says_years",
        ("common.auth:Verifier.verify", "min(found.expires, time.time() + found.longest)", "found.expires"),
    ),
    edited(
        "password-not-asked-again",
        "a stolen access token deletes an account",
        _ACCOUNTS + "test_a_stolen_token_is_not_enough",
        ("user.service.accounts:Accounts._checked", "raise NotTheirPassword", "return Claim(user.name, '', 0)"),
    ),
)
