"""Reads OTLP profiles with the published Python messages; prints each sample as one line:
service pid tid thread | frame type and functions, leaf first, `<` for inlined into | times | link."""

import sys

from opentelemetry.proto.collector.profiles.v1development import profiles_service_pb2

request = profiles_service_pb2.ExportProfilesServiceRequest()
with open(sys.argv[1], "rb") as file:
    request.ParseFromString(file.read())
dictionary = request.dictionary
strings = dictionary.string_table


def value(any_value):
    return getattr(any_value, any_value.WhichOneof("value"))


def attributes(indices):
    entries = [dictionary.attribute_table[index] for index in indices]
    return {strings[entry.key_strindex]: value(entry.value) for entry in entries}


def frame(index):
    location = dictionary.location_table[index]
    functions = [dictionary.function_table[line.function_index] for line in location.lines]
    names = "<".join(strings[function.name_strindex] for function in functions)
    mapping = dictionary.mapping_table[location.mapping_index]
    build_id = attributes(mapping.attribute_indices).get("process.executable.build_id.gnu", "")
    kind = attributes(location.attribute_indices)["profile.frame.type"]
    return f"{kind}:{names}@{strings[mapping.filename_strindex]}+{location.address:#x}[{build_id}]"


for resource_profiles in request.resource_profiles:
    resource = {entry.key: value(entry.value) for entry in resource_profiles.resource.attributes}
    for scope_profiles in resource_profiles.scope_profiles:
        for profile in scope_profiles.profiles:
            sample_type = strings[profile.sample_type.type_strindex]
            unit = strings[profile.sample_type.unit_strindex]
            print(f"profile {sample_type}/{unit} {profile.period} "
                  f"{profile.time_unix_nano}+{profile.duration_nano}")
            for sample in profile.samples:
                thread = attributes(sample.attribute_indices)
                stack = dictionary.stack_table[sample.stack_index].location_indices
                print(
                    resource["service.name"], resource["process.pid"], thread["thread.id"],
                    thread["thread.name"], "|", ";".join(map(frame, stack)), "|",
                    list(sample.timestamps_unix_nano), "|",
                    dictionary.link_table[sample.link_index].trace_id.hex(),
                )
