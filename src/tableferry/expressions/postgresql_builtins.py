"""What every PostgreSQL has: functions without side effects, and types. Pure.

Functions that run SQL, read files, wait, signal, take locks, move sequences or change settings are
on no list ("Functions and Operators", chapter 9).
"""

from __future__ import annotations

_STRINGS_AND_BYTES = """
    ascii bit_count bit_length btrim casefold char_length character_length chr concat concat_ws
    convert_from convert_to crc32 crc32c decode encode format get_bit get_byte initcap left length
    like_escape lower lpad ltrim md5 normalize octet_length overlay parse_ident position
    quote_ident quote_literal quote_nullable regexp_count regexp_instr regexp_like regexp_match
    regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table regexp_substr repeat
    replace reverse right rpad rtrim set_bit set_byte sha224 sha256 sha384 sha512
    similar_to_escape split_part starts_with string_to_array string_to_table strpos substr
    substring textcat to_ascii to_bin to_hex to_oct translate trim unistr upper
"""
_NUMBERS = """
    abs acos acosd acosh asin asind asinh atan atan2 atan2d atand atanh bool bpchar cbrt ceil
    ceiling cos cosd cosh cot cotd degrees div erf erfc exp factorial float4 float8 floor gamma
    gcd int2 int4 int8 lcm lgamma ln log log10 min_scale mod numeric pi pow power radians random
    random_normal round scale sign sin sind sinh sqrt tan tand tanh text trim_scale trunc varchar
    width_bucket
"""
_DATES_AND_TIMES = """
    age clock_timestamp date date_add date_bin date_part date_subtract date_trunc extract interval
    isfinite justify_days justify_hours justify_interval make_date make_interval make_time
    make_timestamp make_timestamptz now overlaps statement_timestamp time timeofday timestamp
    timestamptz timetz timezone to_char to_date to_number to_timestamp transaction_timestamp
"""
_OF_ANY_TYPE = """
    coalesce format_type gen_random_uuid greatest least nullif num_nonnulls num_nulls
    uuid_extract_timestamp uuid_extract_version uuidv4 uuidv7
"""
_ARRAYS_AND_RANGES = """
    array_append array_cat array_dims array_fill array_length array_lower array_ndims
    array_position array_positions array_prepend array_remove array_replace array_reverse
    array_sample array_shuffle array_sort array_to_string array_upper cardinality datemultirange
    daterange generate_series generate_subscripts int4multirange int4range int8multirange
    int8range isempty lower_inc lower_inf multirange nummultirange numrange range_merge trim_array
    tsmultirange tsrange tstzmultirange tstzrange unnest upper_inc upper_inf
"""
_JSON = """
    array_to_json json_array json_array_elements json_array_elements_text json_array_length
    json_build_array json_build_object json_each json_each_text json_extract_path
    json_extract_path_text json_object json_object_keys json_strip_nulls json_typeof
    jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array
    jsonb_build_object jsonb_each jsonb_each_text jsonb_extract_path jsonb_extract_path_text
    jsonb_insert jsonb_object jsonb_object_keys jsonb_path_exists jsonb_path_exists_tz
    jsonb_path_match jsonb_path_match_tz jsonb_path_query jsonb_path_query_array
    jsonb_path_query_array_tz jsonb_path_query_first jsonb_path_query_first_tz jsonb_path_query_tz
    jsonb_pretty jsonb_set jsonb_set_lax jsonb_strip_nulls jsonb_typeof row_to_json to_json
    to_jsonb
"""
_FULL_TEXT_SEARCH = """
    array_to_tsvector get_current_ts_config json_to_tsvector jsonb_to_tsvector numnode
    phraseto_tsquery plainto_tsquery querytree setweight strip to_tsquery to_tsvector ts_delete
    ts_filter ts_headline ts_rank ts_rank_cd tsquery_phrase tsvector_to_array websearch_to_tsquery
"""
_GEOMETRY_AND_NETWORKS = """
    abbrev area bound_box box broadcast center circle diagonal diameter family height host
    hostmask inet_merge inet_same_family isclosed isopen line lseg macaddr8_set7bit masklen
    netmask network npoints path pclose point polygon popen radius set_masklen slope width
"""
_AGGREGATES = """
    any_value array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop
    covar_samp every grouping json_agg json_agg_strict json_object_agg jsonb_agg jsonb_agg_strict
    jsonb_object_agg max min mode percentile_cont percentile_disc range_agg range_intersect_agg
    regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy
    stddev stddev_pop stddev_samp string_agg sum var_pop var_samp variance
"""
_WINDOWS = """
    cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank
    row_number
"""

FUNCTIONS = frozenset(
    " ".join(
        [
            _STRINGS_AND_BYTES,
            _NUMBERS,
            _DATES_AND_TIMES,
            _OF_ANY_TYPE,
            _ARRAYS_AND_RANGES,
            _JSON,
            _FULL_TEXT_SEARCH,
            _GEOMETRY_AND_NETWORKS,
            _AGGREGATES,
            _WINDOWS,
        ]
    ).split()
)

# Types that come with PostgreSQL, but for those that name objects (regclass, regproc, …).
TYPES = frozenset(
    [
        *("smallint", "integer", "bigint", "numeric", "real", "double precision", "money"),
        *("character varying", "character", "bpchar", "text", "bytea", '"char"', "name"),
        *("timestamp with time zone", "timestamp without time zone", "date"),
        *("time with time zone", "time without time zone", "interval", "boolean", "uuid"),
        *("json", "jsonb", "jsonpath", "xml", "bit", '"bit"', "bit varying", "inet", "cidr"),
        *("macaddr", "macaddr8", "point", "line", "lseg", "box", "path", "polygon", "circle"),
        *("tsvector", "tsquery", "regconfig", "int4range", "int8range", "numrange", "tsrange"),
        *("tstzrange", "daterange", "int4multirange", "int8multirange", "nummultirange"),
        *("tsmultirange", "tstzmultirange", "datemultirange", "oid", "pg_lsn"),
    ]
)
