"""OpenSIPS' modules as far as the edge uses them: their functions and parameters, by their pages.

Each row is copied from https://opensips.org/html/docs/modules/3.6.x/<module>.html ("Exported
Functions", "Exported Parameters"); those of proto_tcp and tls_mgm are there, too. A module whose
`why` is given has no function in a route: it serves others.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Module:
    functions: str = ""
    parameters: str = ""
    why: str = ""


MODULES = {
    "proto_udp": Module(why="a transport"),
    "proto_tcp": Module(
        parameters="tcp_port tcp_send_timeout tcp_max_msg_chunks tcp_crlf_pingpong tcp_async "
        "tcp_async_local_connect_timeout tcp_async_local_write_timeout tcp_parallel_handling",
        why="a transport",
    ),
    "proto_tls": Module(why="a transport"),
    "tls_openssl": Module(why="tls_mgm's library"),
    "tls_mgm": Module(
        functions="is_peer_verified",
        parameters="tls_library tls_method certificate private_key ca_list ca_dir crl_dir "
        "ciphers_list verify_cert require_cert client_tls_domain_avp client_sip_domain_avp db_url "
        "match_ip_address match_sip_domain server_domain client_domain",
        why="proto_tls' certificates",
    ),
    "signaling": Module(functions="send_reply"),
    "sl": Module(functions="sl_send_reply sl_reply_error", why="signaling's stateless replies"),
    "tm": Module(
        functions="t_relay t_reply t_check_trans t_check_status t_on_branch t_on_failure "
        "t_on_reply t_was_cancelled t_newtran t_replicate t_local_replied",
        parameters="ruri_matching fr_timeout fr_inv_timeout wt_timer delete_timer auto_100trying",
    ),
    "sipmsgops": Module(
        functions="append_hf append_to_reply insert_hf remove_hf remove_hf_glob remove_hf_re "
        "is_present_hf has_body has_body_part has_totag is_method sipmsg_validate "
        "list_hdr_has_option list_hdr_add_option list_hdr_remove_option"
    ),
    "rr": Module(
        functions="loose_route record_route record_route_preset add_rr_param check_route_param",
        parameters="append_fromtag enable_double_rr add_username",
    ),
    "dialog": Module(
        functions="create_dialog match_dialog validate_dialog load_dialog_ctx unload_dialog_ctx",
        parameters="enable_stats default_timeout options_ping_interval reinvite_ping_interval "
        "dlg_match_mode db_url db_mode db_update_period db_flush_vals_profiles",
    ),
    "topology_hiding": Module(
        functions="topology_hiding topology_hiding_match",
        parameters="force_dialog th_passed_contact_uri_params th_callid_passwd th_callid_prefix",
    ),
    "statistics": Module(
        functions="update_stat reset_stat update_stat_series stat_iter_init stat_iter_next",
        parameters="variable stat_groups stat_series_profile",
    ),
    "httpd": Module(parameters="ip port buf_size conn_timeout", why="prometheus is served by it"),
    "prometheus": Module(
        functions="prometheus_declare_stat prometheus_push_stat",
        parameters="root prefix delimiter group_prefix group_label group_mode statistics labels",
        why="metrics",
    ),
    "mi_fifo": Module(
        parameters="fifo_name fifo_mode fifo_group fifo_user reply_dir", why="management"
    ),
    "event_routing": Module(functions="notify_on_event", why="event_route"),
    "event_datagram": Module(why="events over UDP"),
    "cachedb_local": Module(parameters="cache_clean_period cachedb_url", why="cache_* of local"),
    "cachedb_redis": Module(
        parameters="connect_timeout query_timeout shutdown_on_error cachedb_url use_tls",
        why="cache_raw_query of redis",
    ),
    "cfgutils": Module(
        functions="sleep usleep get_dynamic_lock release_dynamic_lock",
        parameters="initial_probability hash_file shvset varset lock_pool_size",
        why="$shv and $RANDOM",
    ),
    "db_text": Module(parameters="db_mode buffer_size", why="the tables of trunks and nodes"),
    "db_sqlite": Module(parameters="alloc_limit load_extension busy_timeout", why="database"),
    "permissions": Module(
        functions="check_address check_source_address get_source_group allow_routing",
        parameters="db_url address_table partition",
    ),
    "ratelimit": Module(
        functions="rl_check rl_dec_count rl_reset_count rl_values",
        parameters="timer_interval limit_per_interval expire_time window_size slot_period",
    ),
    "maxfwd": Module(functions="mf_process_maxfwd_header is_maxfwd_lt", parameters="max_limit"),
    "pike": Module(
        functions="pike_check_req",
        parameters="sampling_time_unit reqs_density_per_unit remove_latency check_route",
    ),
    "nathelper": Module(
        functions="fix_nated_contact fix_nated_sdp nat_uac_test add_rcv_param",
        parameters="natping_interval received_avp sipping_from",
    ),
    "uuid": Module(functions="uuid"),
    "rtpengine": Module(
        functions="rtpengine_offer rtpengine_answer rtpengine_delete rtpengine_use_set",
        parameters="rtpengine_sock rtpengine_disable_tout rtpengine_tout rtpengine_retr "
        "rtpengine_timer_interval ping_enabled extra_id_pv setid_avp error_pv notification_sock",
        why="rtp_relay's engine",
    ),
    "rtp_relay": Module(functions="rtp_relay_engage"),
    "dispatcher": Module(
        functions="ds_select_dst ds_next_dst ds_mark_dst ds_is_in_list ds_count ds_select_domain",
        parameters="db_url attrs_avp partition persistent_state ds_ping_from ds_ping_interval "
        "ds_ping_method ds_probing_mode ds_probing_threshold ds_probing_sock ds_probing_list "
        "options_reply_codes table_name hash_pvar",
    ),
    "uac_auth": Module(why="b2b_entities asks for it"),
    "b2b_entities": Module(
        functions="ua_session_server_init ua_session_update ua_session_reply ua_session_terminate",
        parameters="server_hsize client_hsize db_url db_mode update_period b2b_key_prefix "
        "advertised_contact script_req_route script_reply_route",
        why="siprec's dialogs",
    ),
    "siprec": Module(
        functions="siprec_start_recording siprec_stop_recording siprec_pause_recording "
        "siprec_resume_recording siprec_send_indialog",
        parameters="skip_failover_codes",
    ),
    "acc": Module(
        functions="do_accounting drop_accounting acc_log_request acc_db_request acc_evi_request",
        parameters="early_media report_cancels detect_direction log_level log_facility "
        "extra_fields leg_fields db_url",
    ),
}
# Of the core: https://opensips.org/Documentation/Script-CoreFunctions-3-6 and Script-Statements.
CORE = {
    *("cache_fetch", "cache_raw_query", "cache_remove", "cache_store"),
    *("force_rport", "if", "modparam", "route", "subscribe_event", "while", "xlog"),
}
