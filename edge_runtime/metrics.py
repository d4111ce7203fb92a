"""Every metric name of the daemon, with its labels and their closed sets of values.

The reasons stand here as plain text, so that a role which only receives bytes need not load what decodes them;
a test compares them with what the parts raise.
"""

from __future__ import annotations

from edge_runtime import __version__
from edge_runtime.config import Config
from edge_runtime.spool.states import DELIVERY_STATES, INSTANCE_STATES, JOB_STATES
from edge_runtime.telemetry.gpu.reading import CLOCKS, ECC_KINDS, RAILS, THROTTLE_REASONS
from edge_runtime.telemetry.metrics import RATIO_BUCKETS, Labels, Metric

ROLES = ("receive", "infer", "report", "deliver", "capture", "studies", "live")
WAYS = ("host", "device")
GRAPH_OUTCOMES = ("captured", "fallback")
STAGE_OUTCOMES = ("ran", "not_needed", "skipped", "not_evaluated", "failed")
ANSWERS = ("positive", "negative", "not_evaluated")
INDEXED = ("matched", "unmatched", "duplicate", "own_result", "quarantined", "conflicting")
STORE_RESULTS = (
    "stored", "out_of_resources", "processing_failure", "class_not_of_context", "identity_differs", "invalid_uid",
    "identity_unreadable", "no_data_set", "interrupted",
)  # fmt: skip
REJECTIONS = (
    "calling_ae_title", "called_ae_title", "application_context", "protocol_version", "association_limit",
    "caller_limit", "stopping",
)  # fmt: skip
CONNECTION_ENDS = (
    "released", "rejected", "internal_error", "peer_closed", "peer_aborted", "read_deadline", "too_slow",
    "write_deadline", "idle", "stopping", "command_in_data_set", "context_not_accepted", "data_before_command",
    "malformed_associate", "malformed_command", "malformed_data", "mixed_contexts", "not_dicom", "object_too_large",
    "pdu_length", "unexpected_pdu", "unknown_pdu",
)  # fmt: skip
DECODE_REASONS = (
    "bad_rescale", "decode_crashed", "decode_failed", "decode_memory", "decode_timeout", "decode_unavailable",
    "no_pixels", "pixel_length_mismatch", "too_large", "truncated", "unreadable_header", "unsupported_photometric",
    "unsupported_pixel_format", "unsupported_transfer_syntax",
)  # fmt: skip
ASSEMBLY_REASONS = (
    "no_images", "mixed_patients", "conflicting_instances", "mixed_modality", "mixed_size", "mixed_colour",
    "too_large", "localizer", "colour_volume", "missing_rescale", "mixed_frame_of_reference", "missing_geometry",
    "missing_spacing", "mixed_orientation", "mixed_spacing", "too_few_slices", "doubled_slices", "missing_slices",
    "uneven_spacing", "oblique_shear", "not_square",
)  # fmt: skip
REFUSALS = tuple(sorted({*DECODE_REASONS, *ASSEMBLY_REASONS, "minimum_slices", "originals_missing"}))
DELIVERY_OUTCOMES = ("done", "deferred", "parked")
DELIVERY_REASONS = (
    "stored", "duplicate", "warning", "away", "timeout", "aborted", "refused_association", "refused_context",
    "not_authorised", "out_of_resources", "processing_failure", "data_set_mismatch", "cannot_understand", "refused",
    "http_status", "failed_sop_sequence", "unconfirmed", "disk_full", "conflict", "altered", "missing", "unreadable",
    "wrong_kind", "no_key", "stopped", "internal",
)  # fmt: skip
FRAME_OUTCOMES = (
    "captured", "corrupt", "frozen", "lagging", "too_large", "unread", "superseded", "in_time", "late", "dropped",
    "failed", "overtaken",
)  # fmt: skip
"""The first six are of capture; of those captured, the others say what infer made of them."""

SOURCE_STATES = ("connecting", "live", "silent", "frozen", "lagging", "ended")
CONNECT_OUTCOMES = ("opened", "refused", "timeout", "not_found", "no_video", "broken", "ended")
MISS_CAUSES = ("capture", "waiting", "stage", "contention", "decision")
DECISIONS = ("run", "cheaper", "skip", "drop")
DECISION_REASONS = ("fits", "probe", "too_slow", "too_late", "reserved", "no_deadline")
RUN_CLASSES = ("live", "study", "promoted")
LIVE_OUTCOMES = ("sent", "failed", "lost", "stale")
PICTURE_OUTCOMES = ("drawn", "stale", "overwritten")
KEY_FRAME_OUTCOMES = ("stored", "no_examination", "too_soon", "too_few", "maximum", "failed")
ERROR_BUCKETS = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
DEVICE_FAILURES = ("lost", "memory", "call", "hang")
WORKER_ENDS = ("decode_crashed", "decode_timeout", "decode_unavailable", "ended_idle")

METRICS: dict[str, Metric] = {
    # receive
    "edge_receive_associations_accepted_total": Metric("counter", "Associations accepted."),
    "edge_receive_associations_rejected_total": Metric(
        "counter", "Associations rejected, by reason.", {"reason": REJECTIONS}
    ),
    "edge_receive_associations_open": Metric("gauge", "Associations open now."),
    "edge_receive_connections_ended_total": Metric(
        "counter", "Connections that ended, by how.", {"reason": CONNECTION_ENDS}
    ),
    "edge_receive_connections_shed_total": Metric("counter", "Connections closed at once because of a flood."),
    "edge_receive_echoes_total": Metric("counter", "C-ECHO requests answered."),
    "edge_receive_instances_total": Metric("counter", "C-STORE requests, by result.", {"result": STORE_RESULTS}),
    "edge_receive_bytes_total": Metric("counter", "Bytes of data sets stored durably."),
    "edge_receive_store_seconds": Metric("histogram", "From a C-STORE command to its response."),
    "edge_receive_commit_seconds": Metric("histogram", "Making one instance survive power loss."),
    "edge_receive_hand_over_failures_total": Metric(
        "counter", "Durable instances whose news did not reach the journal at once; they are found by a scan."
    ),
    "edge_receive_last_instance_timestamp_seconds": Metric(
        "gauge", "Unix time of the receipt of the newest image; absent until there is one."
    ),
    # spool
    "edge_spool_reserve_bytes": Metric("gauge", "Bytes below which C-STORE is refused (spool.reserve_bytes)."),
    "edge_spool_free_bytes": Metric("gauge", "Bytes that the spool's file system still takes."),
    "edge_spool_instances": Metric("gauge", "Instances in the journal by state.", {"state": INSTANCE_STATES}),
    "edge_spool_deleted_total": Metric("counter", "What retention deleted.", {"what": ("originals", "results")}),
    # infer
    "edge_instances_indexed_total": Metric(
        "counter", "Instances looked at after they were stored, by what they are.", {"outcome": INDEXED}
    ),
    "edge_decode_objects_total": Metric(
        "counter", "Objects given to the decode processes, by outcome.",
        {"outcome": ("decoded", "cancelled", "unexpected_error", *DECODE_REASONS)},
    ),
    "edge_decode_seconds": Metric("histogram", "Decoding one object."),
    "edge_decoded_bytes_total": Metric("counter", "Bytes of decoded pixels."),
    "edge_decode_worker_replacements_total": Metric(
        "counter", "Decode processes replaced, by reason.", {"reason": WORKER_ENDS}
    ),
    "edge_jobs": Metric("gauge", "Jobs by state.", {"pipeline": None, "state": JOB_STATES}),
    "edge_jobs_concluded_total": Metric(
        "counter", "Jobs whose pipeline ran, by whether every stage gave its answer.",
        {"pipeline": None, "outcome": ("complete", "incomplete")},
    ),
    "edge_jobs_refused_total": Metric(
        "counter", "Jobs whose images make no volume or frame sequence, by reason.",
        {"pipeline": None, "reason": REFUSALS},
    ),
    "edge_jobs_parked_total": Metric(
        "counter", "Jobs that a person must look at.", {"pipeline": None, "reason": ("attempts", "report")}
    ),
    "edge_jobs_without_pipeline": Metric(
        "gauge", "Jobs that wait for a pipeline which the configuration no longer has."
    ),
    "edge_deadline_missed_total": Metric("counter", "Studies concluded after their deadline.", {"pipeline": None}),
    "edge_study_seconds": Metric(
        "histogram", "From the receipt of a study's last image to its conclusion.", {"pipeline": None}
    ),
    "edge_stage_seconds": Metric("histogram", "Time of one stage.", {"pipeline": None, "stage": None}),
    "edge_engine_seconds": Metric(
        "histogram", "Time of the engine alone in one stage.", {"pipeline": None, "stage": None}
    ),
    "edge_stage_runs_total": Metric(
        "counter", "Runs of a stage, by who prepares and reads its images.",
        {"pipeline": None, "stage": None, "way": WAYS},
    ),
    "edge_graphs_total": Metric(
        "counter", "Work on pictures that was recorded as a graph, or that could not be.",
        {"pipeline": None, "outcome": GRAPH_OUTCOMES},
    ),
    "edge_stage_outcomes_total": Metric(
        "counter", "What became of stages.", {"pipeline": None, "stage": None, "outcome": STAGE_OUTCOMES}
    ),
    "edge_deadline_seconds": Metric("gauge", "The deadline of studies (deadline_seconds).", {"pipeline": None}),
    "edge_job_oldest_pending_seconds": Metric(
        "gauge", "Time since the last image of the study that has waited longest for its report; 0 when none waits.",
        {"pipeline": None},
    ),
    "edge_study_answers_total": Metric(
        "counter", "Studies by answer: positive if any stage is, else not evaluated if any is. No amendments.",
        {"pipeline": None, "answer": ANSWERS},
    ),
    "edge_stage_answers_total": Metric(
        "counter", "Studies by the answer of one stage, in the same way.",
        {"pipeline": None, "stage": None, "answer": ANSWERS},
    ),
    "edge_finding_probability_ratio": Metric(
        "histogram", "Probabilities of findings, the highest of each label and study. No amendments.",
        {"pipeline": None, "stage": None}, RATIO_BUCKETS,
    ),
    "edge_amendments_total": Metric(
        "counter", "Studies analysed again because of late images, after an answer was given.", {"pipeline": None}
    ),
    # report
    "edge_reports_written_total": Metric("counter", "Jobs whose result objects were written.", {"pipeline": None}),
    # deliver
    "edge_deliveries": Metric(
        "gauge", "Deliveries in the journal by state.", {"destination": None, "state": DELIVERY_STATES}
    ),
    "edge_deliveries_total": Metric(
        "counter", "Attempts to deliver one object, by outcome and reason.",
        {"destination": None, "outcome": DELIVERY_OUTCOMES, "reason": DELIVERY_REASONS},
    ),
    "edge_delivery_seconds": Metric("histogram", "One attempt to deliver one object.", {"destination": None}),
    "edge_delivered_bytes_total": Metric("counter", "Bytes of delivered objects.", {"destination": None}),
    "edge_delivery_errors_total": Metric(
        "counter", "Unexpected errors of a delivery worker; it goes on.", {"destination": None}
    ),
    "edge_delivery_oldest_waiting_seconds": Metric(
        "gauge", "Time since the last image of the oldest study that waits for the destination; 0 when none does.",
        {"destination": None},
    ),
    "edge_deliveries_without_destination": Metric(
        "gauge", "Deliveries that wait for a destination which the configuration no longer has."
    ),
    "edge_destination_up": Metric("gauge", "1 when the destination answered last time, else 0.", {"destination": None}),
    # capture
    "edge_video_frames_total": Metric(
        "counter", "Frames of a source, by what became of them.", {"source": None, "outcome": FRAME_OUTCOMES}
    ),
    "edge_video_state": Metric(
        "gauge", "1 for the state that a source is in, 0 for the others.", {"source": None, "state": SOURCE_STATES}
    ),
    "edge_video_connects_total": Metric(
        "counter", "Attempts to open a source, by outcome.", {"source": None, "outcome": CONNECT_OUTCOMES}
    ),
    "edge_video_last_frame_timestamp_seconds": Metric(
        "gauge", "Unix time of the newest good frame of a source; absent until there is one.", {"source": None}
    ),
    "edge_video_lag_seconds": Metric(
        "gauge", "How far the newest frame was behind the source's own clock when it was decoded.", {"source": None}
    ),
    "edge_video_resolution_changes_total": Metric(
        "counter", "Changes of the picture's size in mid-stream.", {"source": None}
    ),
    # live frames
    "edge_frame_seconds": Metric(
        "histogram", "From the capture of a frame to its result, of the results that were in time.", {"source": None}
    ),
    "edge_frame_runtime_seconds": Metric(
        "histogram", "From taking a frame to its result, less the time of its stages: what the runtime adds.",
        {"source": None},
    ),
    "edge_frame_deadline_missed_total": Metric(
        "counter", "Frames that had no result in time, by cause.", {"source": None, "cause": MISS_CAUSES}
    ),
    "edge_frame_display_seconds": Metric(
        "histogram", "From the capture of a frame to its picture with overlay being ready for the page.",
        {"source": None},
    ),
    "edge_frame_deadline_seconds": Metric("gauge", "The deadline of a source's frames.", {"source": None}),
    "edge_schedule_decisions_total": Metric(
        "counter", "What was decided before a stage, and why.",
        {"pipeline": None, "stage": None, "decision": DECISIONS, "reason": DECISION_REASONS},
    ),
    "edge_schedule_estimate_seconds": Metric(
        "gauge", "What a stage is expected to need: a high quantile of its recent runs.",
        {"pipeline": None, "stage": None},
    ),
    "edge_schedule_estimate_error_ratio": Metric(
        "histogram", "Time of a stage by its estimate; above 1 where it took longer.",
        {"pipeline": None, "stage": None}, ERROR_BUCKETS,
    ),
    "edge_schedule_wait_seconds": Metric(
        "histogram", "Waiting for the accelerator before a run.", {"class": RUN_CLASSES}
    ),
    "edge_schedule_waiting": Metric("gauge", "Runs that wait for the accelerator.", {"class": RUN_CLASSES}),
    "edge_schedule_running": Metric("gauge", "Runs on the accelerator at this moment.", {"class": RUN_CLASSES}),
    "edge_schedule_promotions_total": Metric(
        "counter", "Studies past their deadline that were put among the live frames.", {"pipeline": None}
    ),
    "edge_schedule_study_priority": Metric(
        "gauge", "1 while the studies' own worker has the priority of live frames: a study is past its deadline."
    ),
    "edge_live_results_total": Metric(
        "counter", "Results of frames handed to a live destination, by outcome.",
        {"destination": None, "outcome": LIVE_OUTCOMES},
    ),
    "edge_live_results_lost_total": Metric(
        "counter", "Results that found the way from infer to the live outputs full.", {"source": None}
    ),
    "edge_live_pictures_total": Metric(
        "counter", "Pictures with overlay for the page, by outcome.", {"source": None, "outcome": PICTURE_OUTCOMES}
    ),
    "edge_live_viewers": Metric("gauge", "Viewers of live pictures."),
    "edge_key_frames_total": Metric(
        "counter", "Positive frames looked at as key frames, by what became of them.",
        {"source": None, "outcome": KEY_FRAME_OUTCOMES},
    ),
    "edge_examination_open": Metric("gauge", "1 while an examination is open on a source.", {"source": None}),
    # the GPUs that are found; what one of them does not tell is absent
    "edge_gpu_telemetry_up": Metric(
        "gauge", "1 while the GPUs tell how they are, 0 when they have not for 6 s; absent without an NVIDIA GPU."
    ),
    "edge_gpu_lost": Metric("gauge", "1 when the driver has lost the GPU, such as off the bus, else 0.", {"gpu": None}),
    "edge_gpu_utilization_ratio": Metric("gauge", "Share of time in which a kernel ran.", {"gpu": None}),
    "edge_gpu_memory_used_bytes": Metric(
        "gauge", "Memory in use, by any program; absent for an integrated GPU, which has none of its own.",
        {"gpu": None},
    ),
    "edge_gpu_memory_total_bytes": Metric("gauge", "Memory of a card.", {"gpu": None}),
    "edge_gpu_power_watts": Metric("gauge", "Power that the GPU draws.", {"gpu": None}),
    "edge_gpu_power_limit_watts": Metric("gauge", "Power that a card may draw.", {"gpu": None}),
    "edge_gpu_temperature_celsius": Metric("gauge", "Temperature of the GPU.", {"gpu": None}),
    "edge_gpu_clock_hertz": Metric("gauge", "Clocks.", {"gpu": None, "clock": CLOCKS}),
    "edge_gpu_clock_limit_hertz": Metric(
        "gauge", "The highest that a clock may be; on a Jetson as nvpmodel allows it.", {"gpu": None, "clock": CLOCKS}
    ),
    "edge_gpu_throttled": Metric(
        "gauge", "1 for each reason why the GPU is slower than it could be.",
        {"gpu": None, "reason": THROTTLE_REASONS},
    ),
    "edge_gpu_fan_ratio": Metric("gauge", "Speed of a card's fan, of the highest.", {"gpu": None}),
    "edge_gpu_ecc_errors": Metric(
        "gauge", "Memory errors of a card since its driver was loaded.", {"gpu": None, "kind": ECC_KINDS}
    ),
    "edge_gpu_xid_errors_total": Metric("counter", "Errors (Xid) that the driver reported of a GPU.", {"gpu": None}),
    "edge_power_rail_watts": Metric("gauge", "Power on a supply rail of a Jetson module.", {"rail": RAILS}),
    # supervisor
    "edge_http_login_failures_total": Metric("counter", "Logins to the page with a wrong user or password."),
    "edge_role_restarts_total": Metric(
        "counter", "Processes that ended and were replaced, by what is blamed.",
        {"role": ROLES, "blame": ("item", "role")},
    ),
    "edge_role_budget_spent_total": Metric(
        "counter", "Times that a role ended too often and was left down for minutes.", {"role": ROLES}
    ),
    "edge_device_lost_total": Metric(
        "counter", "Processes that ended because their accelerator failed, by how.",
        {"role": ("infer", "studies"), "cause": DEVICE_FAILURES},
    ),
    "edge_role_ready": Metric("gauge", "1 when `/readyz` has nothing to say of the role, else 0.", {"role": ROLES}),
    "edge_configuration_reloads_total": Metric(
        "counter", "Configurations read anew (SIGHUP), by what became of them.",
        {"outcome": ("applied", "refused", "rolled_back")},
    ),
    "edge_configuration_restart_needed": Metric(
        "gauge", "1 when the configuration file holds changes that need a restart of the daemon."
    ),
    "edge_start_timestamp_seconds": Metric("gauge", "Unix time of the daemon's start."),
    "edge_build_info": Metric("gauge", "1, with the version of the daemon.", {"version": (__version__,)}),
}  # fmt: skip


def label_values(config: Config) -> dict[str, Labels]:
    """The values of the labels that come from the configuration."""
    return {
        "pipeline": tuple(p.name for p in config.pipelines),
        "stage": tuple(sorted({s.name for p in config.pipelines for s in p.stages})),
        "destination": tuple(d.name for d in config.destinations),
        "source": tuple(video.name for video in config.video),
    }
