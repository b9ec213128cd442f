"""Bugs in who is listed where, and in who follows it."""

from lab.drill.mutants.mutant import edited

_DISCOVERY = "tests/unit/test_discovery.py::"
_INSTANCES = "tests/unit/test_peer_instances.py::"
_CONTRACT = "tests/contract/test_directory.py::"

MUTANTS = (
    edited(
        "empty-list-believed",
        "an etcd that lost its data leaves all services with none to call",
        _DISCOVERY + "test_an_empty_list_is_not_believed",
        ("common.discovery.following:believed", "in callable_ones if urls}", "in callable_ones}"),
    ),
    edited(
        "no-address-followed",
        "one instance that is listed at no address ends discovery in all that call its service",
        _DISCOVERY + "test_an_entry_that_is_no_address",
        ("common.discovery.following:believed", "[url for url in urls if is_instance(split(url))]", "list(urls)"),
    ),
    edited(
        "kept-list-forgotten-by-service",
        "a start while a service has no instance listed erases those that were known",
        _DISCOVERY + "test_a_start_while_a_service_has_no_instance",
        ("common.discovery.following:Following._look", "believed(found, kept)", "believed(found, {})"),
    ),
    edited(
        "last-known-list-not-taken",
        "a process that starts while discovery is down forgets whom it knew",
        _DISCOVERY + "test_a_start_while_it_is_down",
        ("common.discovery.following:Following.start", "self._kept.load(self._services)", "{}"),
    ),
    edited(
        "last-known-list-not-kept",
        "the list of instances is on no disk",
        _DISCOVERY + "test_a_start_while_it_is_down",
        ("common.discovery.following:Following._look", "self._kept.save(self._known)", "pass"),
    ),
    edited(
        "discovery-down-not-said",
        "readiness and gauges call a list current that is not read any more",
        _DISCOVERY + "test_down_the_last_known_list_is_used_and_that_is_said",
        ("common.discovery.following:Following._look", "self._down = error", "pass"),
    ),
    edited(
        "listed-before-it-listens",
        "calls are sent to a port that is not open yet",
        _DISCOVERY + "test_listed_once_it_listens_and_withdrawn_once",
        ("common.discovery.registration:Registration._keep", "while not self._listens():", "while False:"),
    ),
    edited(
        "listed-after-its-withdrawal",
        "a renewal on its way lists an instance that has stopped",
        _DISCOVERY + "test_no_renewal_comes_after_the_withdrawal",
        ("common.discovery.registration:Registration.withdraw", "with self._guard:", "if True:"),
    ),
    edited(
        "lease-renewed-once",
        "one renewal that is late costs an instance its place",
        _DISCOVERY + "test_renewed_three_times_in_its_time",
        ("common.discovery.registration:Registration._keep", "self._ttl / tries", "self._ttl"),
    ),
    edited(
        "ended-lease-listed",
        "an instance that was killed is called for ever",
        _CONTRACT + "test_gone_when_its_lease_is_over[embedded]",
        ("common.discovery.embedded:EmbeddedDirectory.read", "if not now < until <= now + MOST_TTL:", "if False:"),
    ),
    edited(
        "new-instances-not-called",
        "one more instance takes no part until a restart",
        _INSTANCES + "test_other_instances_from_now_on",
        ("common.peer:Peer.use", "for url in urls}", "for url in (before or urls)}"),
    ),
    edited(
        "links-beside-not-told",
        "calls that may take long go on to instances that are gone",
        _INSTANCES + "test_other_instances_from_now_on",
        ("common.peer:Peer.use", "link.use(urls)", "pass"),
    ),
    edited(
        "connections-thrown-away",
        "each change of a list costs those that stay their connections and what is known of them",
        _INSTANCES + "test_instances_that_stay_keep_their_connections",
        ("common.peer:Peer.use", "before.get(url) or self._instance(url)", "self._instance(url)"),
    ),
    edited(
        "gone-instance-left-alone-for-ever",
        "a gauge tells of an instance that there is not any more",
        _INSTANCES + "test_one_that_is_gone_is_not_told_as_left_alone",
        ("common.peer:Peer.use", "instance.retire()", "pass"),
    ),
    edited(
        "just-started-again-not-tried",
        "a rolling restart refuses orders, though one instance is always there",
        _INSTANCES + "test_one_that_left_the_list_is_tried_where_none_listed_is_there",
        ("common.peer:Peer._send", "return self._send_to_gone(call, how, error)", "raise"),
    ),
    edited(
        "a-strangers-refusal-believed",
        "another service at the port of an instance that is gone answers in its name",
        _INSTANCES + "test_another_service_at_the_port_of_one_that_left_is_no_answer",
        ("common.peer:Peer._send_to_gone", "if status not in _REFUSES_US:", "if True:"),
    ),
    edited(
        "gone-for-ever-remembered",
        "every port that an instance ever had is called when none answers",
        _INSTANCES + "test_one_that_left_long_ago_is_not_tried",
        ("common.peer:Peer._send_to_gone", "if left_at < since:", "if False:"),
    ),
    edited(
        "etcd-login-not-renewed",
        "when etcd starts anew, no instance is listed any more",
        "tests/contract/test_etcd_secured.py::test_its_tokens_are_lost",
        (
            "common.discovery.etcd:EtcdDirectory._known_to",
            "or not _is_stranger(error)",
            "or self._session.headers.get('Authorization')",
        ),
    ),
    edited(
        "etcd-any-certificate",
        "who answers in etcd's place gets its password",
        "tests/contract/test_etcd_secured.py::test_a_server_that_is_another",
        ("common.discovery.etcd:EtcdDirectory.__init__", "else True", "else False"),
    ),
)
