"""Answers with its event, and what Lambda tells it about itself."""


def handler(event, context):
    print("echo was asked")
    return {
        "event": event,
        "function_name": context.function_name,
        "function_version": context.function_version,
        "invoked_function_arn": context.invoked_function_arn,
        "request_id": context.aws_request_id,
    }
